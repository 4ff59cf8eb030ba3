"""Teams: who holds a key, and what their team asks the backend with."""
