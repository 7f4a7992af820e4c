"""Labels where few places hold what is looked for: asked for, given, and what they are worth."""
