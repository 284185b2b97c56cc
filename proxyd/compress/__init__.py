"""Compressed forms of stored answers, made in the background.

A request never waits for a compressor: an answer is stored and served as the server sent it, and a moment later its compressed forms stand
beside it. `eligible.py` says which answers are compressed at all, `codec.py` compresses bytes, `compressor.py` is the service between the
engines' `stored` events and the store. Which form a client gets is chosen by the engine, which also sets Content-Encoding, Vary and a weak
ETag on it.
"""
