"""Room: trainings spread over several hosts, as TrainJobs of Kubeflow's Trainer."""
