"""What an upstream's traffic as a whole decides: the error-ratio breaker, the adaptive limit, the delay of hedged requests.

Engines count; here the counts of the last seconds are judged and the outcome is one word or number that the engines obey. The three parts
(`breaker.py`, `gradient.py`, `percentile.py`) are arithmetic without I/O and without a clock of their own; `governor.py` runs them.
"""
