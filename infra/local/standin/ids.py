"""Ids that look like the API's."""

import secrets


def random_id(prefix: str) -> str:
    """A fresh id such as `req_01f3...`, from the operating system's randomness."""
    return f"{prefix}_01{secrets.token_hex(11)}"
