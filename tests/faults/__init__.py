"""What becomes of calls when things break: real processes, a load from many tokens, and an oracle that knows better."""
