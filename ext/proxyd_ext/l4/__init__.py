"""Flows: TCP connections and UDP exchanges that are passed on to a server without looking at what they carry."""
