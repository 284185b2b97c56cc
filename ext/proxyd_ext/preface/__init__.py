"""What stands in front of a connection's bytes: the PROXY header, and TLS's ClientHello. Pure functions over bytes, no I/O."""
