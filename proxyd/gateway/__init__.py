"""Who a client is: the control plane's side of `auth`. Engines ask only about credentials whose verdict they do not remember.

`authority.py` is what each kind of `auth` implements; `service.py` has the questions answered, each once at a time.
"""
