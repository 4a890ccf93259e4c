"""
openai-python's own tests, from its source distributions, against a server of ours.

    python -m tests.conformance            all in scope, with the newest SDK and with old ones
    python -m tests.conformance uploads    only files whose path holds that word
    python -m tests.conformance 1.109.1    only that version

They name things by literal ids, which are put there anew before each test. What is not in scope,
and why, is in `scope.py`; a test that is not in scope and passes is a fault too, so that the list
can only tell the truth. Takes three minutes and PyPI, so it is no part of `make test`.
"""
