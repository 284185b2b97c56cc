"""JSON Web Tokens and the keys that prove them: pure functions over bytes, no I/O, no clock, no config.

Signatures are joserfc's and cryptography's work. What is parsed before a signature is known to be right is parsed here, as strictly as a
request's head is: one reading of a token is possible, or it is refused.
"""
