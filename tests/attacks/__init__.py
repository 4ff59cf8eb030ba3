"""Attacks of one caller on everybody else, on the real service in a process of its own, and what each of them costs."""
