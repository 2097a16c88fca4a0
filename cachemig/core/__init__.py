"""Pure formulas and values: no I/O, no clock, no dice, no threads."""
