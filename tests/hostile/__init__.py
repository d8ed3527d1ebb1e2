"""What comes from outside tries to do harm; SECURITY.md has a row for each attack, with the test that proves it."""
