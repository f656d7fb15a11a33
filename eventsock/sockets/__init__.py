"""Tasks meet sockets: connect, accept, transfer, streams, serving. Knows tasks and basic's addresses, options and errors."""
