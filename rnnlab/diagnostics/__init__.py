"""Why a network learns or not: observations of stacked networks, which change nothing.

Pure functions, each of a whole stack at once; no input or output, no clock, no global random state.
"""
