/** Small modules, as their bytes: what they say in the text format is beside each. */
const hex = (text: string) => Uint8Array.from(Buffer.from(text, 'hex'))
const HEAD = '0061736d01000000'

/** `(func (export "f") (loop (br 0)))` */
export const WASM_LOOP = hex(`${HEAD}0104016000000302010007050101660000${'0a0901070003400c000b0b'}`)
/** `(memory (export "m") 16384)`: one gigabyte declared. */
export const WASM_GIGABYTE = hex(`${HEAD}050501008080010705${'01016d0200'}`)
/** `(memory (export "m") 1) (func (export "g") (result i32) (memory.grow (i32.const 256)))` */
export const WASM_GROWS = hex(`${HEAD}0105016000017f030201000503010001070902${'016d0200016700000a0901070041800240000b'}`)
/** `(func $f (loop (br 0))) (start $f)` */
export const WASM_STARTS = hex(`${HEAD}01040160000003020100${'0801000a0901070003400c000b0b'}`)
/** `(table 10000000 funcref)` */
export const WASM_TABLE = hex(`${HEAD}0407017000${'80ade204'}`)
/** `(memory (export "m") 1 2 shared)` */
export const WASM_SHARED = hex(`${HEAD}0504010301020705${'01016d0200'}`)
