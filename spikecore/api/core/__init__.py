"""What everything else is written in: words and their rules, engines, trees of arrays, layers, draws."""
