"""Stage 3: every system's answers scored on one scale, drawn and reported."""
