"""One executable check per statement of the papers; ``python -m theory_checks`` runs them.

A check tests a subject, normally a function of qcmap, against an oracle that shares no code with it: mpmath at 30
digits, sympy, enumeration, or sampling with a stated false-alarm rate. Every check carries a broken subject that it
must reject.
"""
