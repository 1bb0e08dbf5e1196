"""What is asked for as a whole: which blocks, how it is carried out, what came of it."""
