"""Products with spikes whose cost follows the number of spikes."""
