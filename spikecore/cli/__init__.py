"""The command line: run files, run directories, sweeps, and the commands that make and read them.

A run file says in TOML what is trained; pydantic models made from the library's own classes check it (``schema.py``). A
run directory keeps what a training has made, so that it can be resumed, evaluated and exported.

Of the core it uses more than other rooms do: ``Model``, ways of learning, processes, files of models and reports. Of
other rooms it uses data sets, pictures, trackers, export, chips and the zoo.

Begin with ``run_file.py``, what a run file holds, and ``run_directory.py``, what a run does; then ``command_train.py``.
"""
