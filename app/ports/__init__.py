"""What the services need from outside, and what failure means at each seam."""
