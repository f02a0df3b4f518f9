"""The command line: commands, run files, run directories, pictures."""
