import { Hono } from 'hono'

const planets = new Map([
  ['mercury', { moons: 0 }],
  ['earth', { moons: 1 }],
  ['mars', { moons: 2 }],
])

const app = new Hono()

app.get('/', (c) => c.text('Try /planets, /planets/earth, or POST a name to /greetings\n'))
app.get('/planets', (c) => c.json([...planets.keys()]))
app.get('/planets/:name', (c) => {
  const name = c.req.param('name')
  const planet = planets.get(name)
  return planet === undefined ? c.notFound() : c.json({ name, ...planet })
})
app.post('/greetings', async (c) => {
  const { name } = await c.req.json<{ name?: unknown }>()
  return typeof name === 'string' ? c.json({ greeting: `Hello, ${name}!` }, 201) : c.json({ error: 'name is not a text' }, 400)
})

app.notFound((c) => c.json({ error: `nothing at ${c.req.path}` }, 404))
app.onError((error, c) =>
  error instanceof SyntaxError ? c.json({ error: 'the body is not JSON' }, 400) : c.json({ error: 'internal' }, 500),
)

export default app
