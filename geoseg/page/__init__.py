"""Pages that this machine serves to a browser: who may ask, how they run, what pictures show."""
