"""The program of the pods: reads predictors' pages, takes what turned out to be true, shows how far both agree."""
