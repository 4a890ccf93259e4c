"""
What of OpenAI's API is here: docs/coverage.md, made from the code and held to it.

    python -m tests.coverage        writes the page
"""
