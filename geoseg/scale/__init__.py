"""Work in units: who does them, and which are done."""
