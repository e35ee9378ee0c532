"""What is built from the checkout, installed and used as a newcomer would."""
