"""
openai-python's own tests, from its source distribution, against a server of ours.

    python -m tests.conformance            all in scope
    python -m tests.conformance uploads    only files whose path holds that word

They name things by literal ids, which are put there anew before each test. What is not in scope,
and why, is in `scope.py`; a test that is not in scope and passes is a fault too, so that the list
can only tell the truth. Takes two minutes and PyPI, so it is no part of `make test`.
"""
