"""DNN graph in, schedule out: order, addresses, and what leaves the scratchpad and comes back.

* Graphs: :mod:`.graph`, from files and modules by :mod:`.importers`; :mod:`.fusion`, :mod:`.views`,
  :mod:`.coverage`.
* What is decided: :mod:`.problem`; what comes out: :mod:`.plan`, :mod:`.schedule` (the file).
* Solvers: :mod:`.solve` is the front door to :mod:`.exact` (a given order), :mod:`.free` (all
  orders), :mod:`.divide` (large graphs) and :mod:`.baselines`; :mod:`.pack` places.
* Checks that share no code with solvers: :mod:`.replay`, :mod:`.execute`, :mod:`.brute`.
* Engines: :mod:`.targets`, :mod:`.engines`; :mod:`.commands`.
* Pictures: :mod:`.pictures`, :mod:`.page`.

Nothing here imports solvers or libraries before they are used.
"""
