package e2e

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestJobCronJobDaemonSet(t *testing.T) {
	t.Parallel()
	v := workloads(t)
	namespace := v.newNamespace(t, "jobs")
	v.apply(t, namespace, testdata(t, "jobs.yaml"))

	t.Run("an indexed job completes", func(t *testing.T) {
		eventually(t, startTimeout, func(ctx context.Context) error {
			job, err := v.client.BatchV1().Jobs(namespace).Get(ctx, "sum", metav1.GetOptions{})
			if err != nil {
				return err
			}
			if job.Status.Succeeded != 3 || job.Status.CompletedIndexes != "0-2" {
				return fmt.Errorf("%d pods of 3 succeeded, indexes %q", job.Status.Succeeded, job.Status.CompletedIndexes)
			}
			return nil
		})
	})

	t.Run("a job that fails is failed, with its exit code and message", func(t *testing.T) {
		eventually(t, startTimeout, func(ctx context.Context) error {
			job, err := v.client.BatchV1().Jobs(namespace).Get(ctx, "fails", metav1.GetOptions{})
			if err != nil {
				return err
			}
			if job.Status.Failed != 1 {
				return fmt.Errorf("%d pods failed, want 1", job.Status.Failed)
			}
			return nil
		})
		pod := v.onlyPod(t, namespace, "job-name=fails")
		state := pod.Status.ContainerStatuses[0].State.Terminated
		if state == nil || state.ExitCode != 3 || state.Message != "broken\n" {
			t.Errorf("the container ended with %+v, want code 3 and its message", state)
		}
	})

	t.Run("a daemon set has a pod on every node", func(t *testing.T) {
		nodes, err := v.client.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if len(nodes.Items) == 0 {
			t.Fatal("the tenant sees no node")
		}
		eventually(t, startTimeout, func(ctx context.Context) error {
			set, err := v.client.AppsV1().DaemonSets(namespace).Get(ctx, "everywhere", metav1.GetOptions{})
			if err != nil {
				return err
			}
			if set.Status.NumberAvailable != int32(len(nodes.Items)) {
				return fmt.Errorf("%d pods are available on %d nodes", set.Status.NumberAvailable, len(nodes.Items))
			}
			return nil
		})
	})

	t.Run("a cron job runs at the next minute", func(t *testing.T) {
		eventually(t, 6*time.Minute, func(ctx context.Context) error {
			cron, err := v.client.BatchV1().CronJobs(namespace).Get(ctx, "tick", metav1.GetOptions{})
			if err != nil {
				return err
			}
			if cron.Status.LastSuccessfulTime == nil {
				return errors.New("no job of the cron job has succeeded yet")
			}
			return nil
		})
	})
}
