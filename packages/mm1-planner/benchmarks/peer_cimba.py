"""Queues in cimba, for `speed.py`: it compiles classes of a module only, so there is one for each size."""

import cimba as cb
from cimba import inputs

LOAD = 0.8


class MM1(cb.Model):
    """One server."""

    interarrival: cb.Input[float] = inputs.dist.exponential(mean=1 / LOAD)
    service_time: cb.Input[float] = inputs.dist.exponential(mean=1)
    queue: cb.Container
    mean_queue: cb.Output[float]

    @cb.process
    def arrivals(self):
        while True:
            cb.hold(self.interarrival.next())
            self.queue.put(1)

    @cb.process
    def server(self):
        while True:
            self.queue.get(1)
            cb.hold(self.service_time.next())

    @cb.on_end
    def measure(self):
        self.mean_queue = self.queue.mean_level()


class MM16(cb.Model):
    """Sixteen servers."""

    interarrival: cb.Input[float] = inputs.dist.exponential(mean=1 / (16 * LOAD))
    service_time: cb.Input[float] = inputs.dist.exponential(mean=1)
    queue: cb.Container
    mean_queue: cb.Output[float]

    @cb.process
    def arrivals(self):
        while True:
            cb.hold(self.interarrival.next())
            self.queue.put(1)

    @cb.process(copies=16)
    def server(self):
        while True:
            self.queue.get(1)
            cb.hold(self.service_time.next())

    @cb.on_end
    def measure(self):
        self.mean_queue = self.queue.mean_level()


MODELS = {1: MM1, 16: MM16}


def run(servers: int, customers: int) -> None:
    """One replication of about so many customers."""
    window = cb.Window(warmup=0, duration=customers / (LOAD * servers))
    cb.Experiment(MODELS[servers](), replications=1, window=window, seed=1).run()
