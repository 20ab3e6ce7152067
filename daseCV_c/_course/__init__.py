"""What the course's notebooks of every year expect of their surroundings."""
