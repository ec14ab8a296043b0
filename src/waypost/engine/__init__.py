"""What happens: journal, recorder, dispatcher, outbound, clockwork."""
