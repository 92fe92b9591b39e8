# How much of the window this replica has: the front sends people to one that has all of it.
groups:
  - name: watched
    interval: 1m
    rules:
      # One sample for each minute in which more than itself was seen: who is cut off has not watched.
      - record: apadana:watching
        expr: vector(1) and on() (count(up == 1) > 1)
      - record: apadana:watched_minutes
        expr: count_over_time(apadana:watching[{{ .Values.retention_days }}d])
  - name: whole
    interval: 15s
    rules:
      # The other replicas' minutes are scraped (job `window`) and carry a job; one's own has none. What another
      # one had counts for 5 minutes after it was last seen: one that is new claims nothing by mistake, and when
      # nobody claims anything the front takes whoever runs. Nothing is said before all others were asked.
      - record: apadana:whole
        expr: >-
          (sum(apadana:watched_minutes{job=""}) >= bool
          (max(max_over_time(apadana:watched_minutes[5m])) - {{ .Values.tolerance_minutes }}))
          and on() (count(up{job="window"}) >= {{ .Values.replicas }})
