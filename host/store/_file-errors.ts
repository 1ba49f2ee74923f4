import { SkepError } from '../errors.ts'

const HINTS: Record<string, string> = {
  EACCES: 'Give the user that skep runs as read and write permission there.',
  EPERM: 'Give the user that skep runs as read and write permission there.',
  EROFS: 'The file system is mounted read-only; mount it read-write or put the store elsewhere.',
  EIO: 'The disk reports an error; look into the kernel log and restore the folder from a backup if need be.',
  EMFILE: "The process is out of file descriptors; raise its limit ('ulimit -n').",
  ENFILE: 'The machine is out of file descriptors; raise fs.file-max.',
  EXDEV: 'The store must lie in one file system; unmount what is mounted inside its folder.',
  ENOTDIR: 'A file stands where the store needs a folder; move it away.',
  EISDIR: 'A folder stands where the store needs a file; move it away.',
  ENOENT: "The store's folder is gone; mount its volume again or restore it.",
  ESTALE: 'The network file system lost the file; mount it again.',
}

export function errnoOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException | undefined)?.code
}

/** What the operating system said, as one of the store's codes, with the path and what to do about it. */
export function fileError(error: unknown, doing: string, path: string): SkepError {
  if (error instanceof SkepError) return error
  const errno = errnoOf(error) ?? 'unknown error'
  if (errno === 'ENOSPC' || errno === 'EDQUOT') {
    const what = errno === 'ENOSPC' ? 'the disk is full (of bytes or of inodes)' : 'the quota is used up'
    return new SkepError('store_full', `Cannot ${doing} ${path}: ${what}. Free some room; nothing was changed.`, { cause: error })
  }
  const hint = HINTS[errno] ?? 'Check the disk and the mount.'
  return new SkepError('store_unavailable', `Cannot ${doing} ${path}: ${errno}. ${hint}`, { cause: error })
}
