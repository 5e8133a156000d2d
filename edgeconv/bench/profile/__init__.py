"""Where the time of a model goes: operators, and how near each comes to what a board can do."""
