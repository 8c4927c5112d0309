"""A queue in cimba, for `speed.py`: its annotations must resolve in a module of their own."""

import cimba
from cimba import inputs


def model_of(load: float, servers: int) -> type:
    """The model of M/M/c at a load, services of mean 1."""

    class Queue(cimba.Model):
        interarrival: cimba.Input[float] = inputs.dist.exponential(mean=1 / (load * servers))
        service_time: cimba.Input[float] = inputs.dist.exponential(mean=1)
        queue: cimba.Container
        mean_queue: cimba.Output[float]

        @cimba.process
        def arrivals(self):
            while True:
                cimba.hold(self.interarrival.next())
                self.queue.put(1)

        @cimba.process(copies=servers)
        def server(self):
            while True:
                self.queue.get(1)
                cimba.hold(self.service_time.next())

        @cimba.on_end
        def measure(self):
            self.mean_queue = self.queue.mean_level()

    return Queue


def run(model: type, duration: float) -> None:
    """One replication."""
    window = cimba.Window(warmup=0, duration=duration)
    cimba.Experiment(model(), replications=1, window=window, seed=1).run()
