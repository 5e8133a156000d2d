"""What was measured, and who may read it: an SQLite file of one user, or a team's PostgreSQL."""
