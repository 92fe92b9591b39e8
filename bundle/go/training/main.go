// Command training-operators is Kubeflow's Trainer and the JobSet controllers that it builds on, in one manager: one
// lease, one server of webhooks, one cache. Their own mains watch the whole cluster, every Secret of it among the rest.
// This one sees the namespace of jobs and nothing else, so that its rights are a Role of that namespace.
//
// Left out, because nothing here asks for it: JobSet's exclusive placement, which wants webhooks on every pod, and both
// ways to make certificates, which the platform brings.
package main

import (
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	ctrlpkg "sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	jobsetapi "sigs.k8s.io/jobset/api/jobset/v1alpha2"
	jobset "sigs.k8s.io/jobset/pkg/controllers"
	jobsetmetrics "sigs.k8s.io/jobset/pkg/metrics"
	jobsetwebhooks "sigs.k8s.io/jobset/pkg/webhooks"
	schedulerplugins "sigs.k8s.io/scheduler-plugins/apis/scheduling/v1alpha1"
	volcano "volcano.sh/apis/pkg/apis/scheduling/v1beta1"

	configapi "github.com/kubeflow/trainer/v2/pkg/apis/config/v1alpha1"
	trainerapi "github.com/kubeflow/trainer/v2/pkg/apis/trainer/v1alpha1"
	trainer "github.com/kubeflow/trainer/v2/pkg/controller"
	"github.com/kubeflow/trainer/v2/pkg/runtime/core"
	trainerwebhooks "github.com/kubeflow/trainer/v2/pkg/webhooks"
)

// A leader that is stalled ends itself before another one may lead.
const (
	lease = 20 * time.Second
	renew = 12 * time.Second
	retry = 3 * time.Second
)

type told struct {
	jobs, home, certificates string
	webhooks                 int
	metrics, health          string
}

func main() {
	var given told
	flag.StringVar(&given.jobs, "namespace", "", "the namespace of jobs: no other is seen")
	flag.StringVar(&given.home, "lease-namespace", "", "the namespace of the lease; left out: the pod's own")
	flag.StringVar(&given.certificates, "certificates", "", "the folder with tls.crt and tls.key of the webhooks")
	flag.IntVar(&given.webhooks, "webhook-port", 9443, "where API servers ask")
	flag.StringVar(&given.metrics, "metrics", ":8080", "where numbers are read")
	flag.StringVar(&given.health, "health", ":8081", "where kubelets ask")
	flag.Parse()
	ctrl.SetLogger(zap.New(zap.JSONEncoder()))
	if err := run(given); err != nil {
		fmt.Fprintf(os.Stderr, "training-operators: %v\n", err)
		os.Exit(1)
	}
}

func run(given told) error {
	if given.jobs == "" || given.certificates == "" {
		return errors.New("--namespace and --certificates are needed")
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		clientgoscheme.AddToScheme, jobsetapi.AddToScheme, configapi.AddToScheme, trainerapi.AddToScheme,
		schedulerplugins.AddToScheme, volcano.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			return err
		}
	}
	mgr, err := ctrl.NewManager(ctrl.GetConfigOrDie(), options(given, scheme))
	if err != nil {
		return err
	}
	ctx := ctrl.SetupSignalHandler()
	jobsetmetrics.Register()
	if err := jobset.SetupJobSetIndexes(ctx, mgr.GetFieldIndexer()); err != nil {
		return err
	}
	sets := jobset.NewJobSetReconciler(mgr.GetClient(), scheme, mgr.GetEventRecorder("jobset"))
	if err := sets.SetupWithManager(mgr); err != nil {
		return err
	}
	if err := jobsetwebhooks.Setup(mgr); err != nil {
		return err
	}
	var defaults configapi.Configuration
	scheme.Default(&defaults)
	runtimes, err := core.New(ctx, mgr.GetClient(), mgr.GetFieldIndexer(), &defaults)
	if err != nil {
		return err
	}
	if name, err := trainer.SetupControllers(mgr, runtimes, ctrlpkg.Options{}); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if name, err := trainerwebhooks.Setup(mgr, runtimes); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if err := mgr.AddHealthzCheck("healthz", healthz.Ping); err != nil {
		return err
	}
	// Ready: the webhooks answer.
	if err := mgr.AddReadyzCheck("readyz", mgr.GetWebhookServer().StartedChecker()); err != nil {
		return err
	}
	return mgr.Start(ctx)
}

func options(given told, scheme *runtime.Scheme) ctrl.Options {
	length, deadline, pause := lease, renew, retry
	server := webhook.NewServer(webhook.Options{
		Port:    given.webhooks,
		CertDir: given.certificates,
		TLSOpts: []func(*tls.Config){func(c *tls.Config) {
			c.MinVersion = tls.VersionTLS12
			c.NextProtos = []string{"http/1.1"}
		}},
	})
	return ctrl.Options{
		Scheme:                        scheme,
		Cache:                         cache.Options{DefaultNamespaces: map[string]cache.Config{given.jobs: {}}},
		Metrics:                       metricsserver.Options{BindAddress: given.metrics},
		HealthProbeBindAddress:        given.health,
		WebhookServer:                 server,
		LeaderElection:                true,
		LeaderElectionID:              "training-operators",
		LeaderElectionNamespace:       given.home,
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 &length,
		RenewDeadline:                 &deadline,
		RetryPeriod:                   &pause,
	}
}
