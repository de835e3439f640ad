"""The engine: pure, synchronous, numpy at its border; it prints nothing and knows no screen."""
