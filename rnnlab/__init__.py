"""How far back can a recurrent network learn to look, and what decides it?"""

__version__ = "0.1.0"
