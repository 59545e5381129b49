"""The daemon's HTTP/1.1 server on a Unix socket: the only readers of client sockets. Imports no service."""
