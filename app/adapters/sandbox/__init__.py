"""A stand-in for AceDataCloud that answers the same HTTP contract without a network or an account."""
