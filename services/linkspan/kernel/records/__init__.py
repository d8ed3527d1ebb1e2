"""How the records in our topics look, and what they say to whoever folds them."""
