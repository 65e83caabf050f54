"""Processes that hold one trainer each, so that no measurement disturbs another.

A server imports one side once, and forks for each trainer: the fork has the memory of a process
that has just started, without the seconds that `import torch` takes. Needs a system that can fork,
which Windows cannot.
"""

import importlib
import multiprocessing
import time
import traceback

FORK, SPAWN = multiprocessing.get_context("fork"), multiprocessing.get_context("spawn")


def serve(side, requests):
    """Import a side, then fork trainers and pass on what they are asked, until the end."""
    module, held = importlib.import_module(side), {}
    while True:
        try:
            name, order, *arguments = requests.recv()
        except EOFError:
            return
        if order == "hold":
            mine, yours = FORK.Pipe()
            held[name] = (
                mine,
                FORK.Process(target=hold, args=(module, arguments, yours), daemon=True),
            )
            held[name][1].start()
            yours.close()
        else:
            held[name][0].send((order, arguments))
        try:
            requests.send(held[name][0].recv())
        except EOFError:
            requests.send(RuntimeError(f"{side}: the process of {name} has died"))
        if order == "end":
            held.pop(name)[1].join()


def hold(module, arguments, requests):
    """Make a trainer and answer requests."""
    try:
        trainer = module.Trainer(*arguments)
        requests.send(None)
        while True:
            order, arguments = requests.recv()
            if order == "end":
                break
            requests.send(
                trainer.gradient()
                if order == "gradient"
                else cpu_seconds(trainer.train, *arguments)
            )
        requests.send(None)
    except Exception:
        requests.send(RuntimeError(traceback.format_exc()))


def cpu_seconds(train, steps):
    """How many seconds of processor time so many steps take."""
    start = time.process_time()
    train(steps)
    return time.process_time() - start


class Server:
    """The other end of `serve`: ask(name, order, *arguments) returns the answer, or raises."""

    def __init__(self, side):
        self.requests, theirs = SPAWN.Pipe()
        self.process = SPAWN.Process(target=serve, args=(side, theirs))
        self.process.start()
        theirs.close()

    def ask(self, *request):
        self.requests.send(request)
        answer = self.requests.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self):
        self.requests.close()
        self.process.join()
