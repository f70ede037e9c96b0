package execution_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Every script in testdata is a test of its own, named after the statements of the behaviour texts that it shows in
// full.

func TestS122_ActivityNeedsATimeout(t *testing.T)                          { script(t) }
func TestS123_TimeoutsAreNormalised(t *testing.T)                          { script(t) }
func TestS081_ActivityIDsAreUniqueWhilePending(t *testing.T)               { script(t) }
func TestS084_CancelBeforeStartEndsTheActivity(t *testing.T)               { script(t) }
func TestScheduledAndCancelledInOneTask(t *testing.T)                      { script(t) }
func TestS085_TooManyActivities(t *testing.T)                              { script(t) }
func TestS124_StartedEventComesWithTheResult(t *testing.T)                 { script(t) }
func TestS125_RetriedActivityHasOneStartedEvent(t *testing.T)              { script(t) }
func TestS127_FailureAsksForItsOwnDelay(t *testing.T)                      { script(t) }
func TestS128_WhatEndsRetries(t *testing.T)                                { script(t) }
func TestS129_ScheduleToStartTimeoutIsFinal(t *testing.T)                  { script(t) }
func TestS130_StartToCloseTimeoutIsRetriedWhileThereIsTime(t *testing.T)   { script(t) }
func TestS130_NoTimeLeftForAnotherAttempt(t *testing.T)                    { script(t) }
func TestS131_ScheduleToCloseFiresDuringBackoff(t *testing.T)              { script(t) }
func TestS132_HeartbeatTimeoutKeepsTheDetails(t *testing.T)                { script(t) }
func TestS133_HeartbeatTimeoutCanBeFinal(t *testing.T)                     { script(t) }
func TestS134_HeartbeatTellsOfTheCancelRequest(t *testing.T)               { script(t) }
func TestS134_CancelledActivity(t *testing.T)                              { script(t) }
func TestCancelOfAnActivityWhoseEndIsBuffered(t *testing.T)                { script(t) }
func TestS137_ReportAfterTheRunHasClosed(t *testing.T)                     { script(t) }
func TestS139_ReportsByID(t *testing.T)                                    { script(t) }
func TestS142_OversizedResultFailsTheActivity(t *testing.T)                { script(t) }
func TestS143_OversizedHeartbeatFailsTheActivity(t *testing.T)             { script(t) }
func TestS069_EagerActivitiesAreStartedInline(t *testing.T)                { script(t) }
func TestEagerActivityCancelledInTheSameTask(t *testing.T)                 { script(t) }
func TestForgottenActivityStartIsTakenFromItsToken(t *testing.T)           { script(t) }
func TestActivityHasTheRunsPriorityUnlessItsOwn(t *testing.T)              { script(t) }
func TestActivityThatCannotFinishLeavesNoDispatch(t *testing.T)            { script(t) }
func TestS110_ChildLivesAndReports(t *testing.T)                           { script(t) }
func TestStartOfAChildIsDeliveredTwice(t *testing.T)                       { script(t) }
func TestS112_ChildIDIsTaken(t *testing.T)                                 { script(t) }
func TestS113_ParentClosePolicies(t *testing.T)                            { script(t) }
func TestS113_NotAppliedWhenTheParentContinues(t *testing.T)               { script(t) }
func TestS114_ChildReportsItsLastRun(t *testing.T)                         { script(t) }
func TestS115_ChildTimesOutOrIsTerminated(t *testing.T)                    { script(t) }
func TestS116_ParentClosesBeforeTheChildIsStarted(t *testing.T)            { script(t) }
func TestChildStartedForAParentThatHasClosed(t *testing.T)                 { script(t) }
func TestAnswerOfAStartReachesAClosedParent(t *testing.T)                  { script(t) }
func TestChildStartedAndClosedInOneTask(t *testing.T)                      { script(t) }
func TestChildClosesBeforeItsStartIsKnown(t *testing.T)                    { script(t) }
func TestChildNewsIsBuffered(t *testing.T)                                 { script(t) }
func TestS121_TerminateIfRunningReplacesTheOther(t *testing.T)             { script(t) }
func TestS085_TooManyChildren(t *testing.T)                                { script(t) }
func TestM044_ExternalSignal(t *testing.T)                                 { script(t) }
func TestM046_ExternalSignalToNobody(t *testing.T)                         { script(t) }
func TestM045_ExternalSignalToAnOldRun(t *testing.T)                       { script(t) }
func TestM048_ChildOnlySignal(t *testing.T)                                { script(t) }
func TestM049_ExternalSignalMeetsTheCountLimit(t *testing.T)               { script(t) }
func TestExternalSignalWaitsForAClosingTarget(t *testing.T)                { script(t) }
func TestM050_BadSignalAttributes(t *testing.T)                            { script(t) }
func TestM051_OtherNamespaces(t *testing.T)                                { script(t) }
func TestM052_OversizedExternalSignalTerminates(t *testing.T)              { script(t) }
func TestM053_TooManyExternalSignals(t *testing.T)                         { script(t) }
func TestExternalSignalIsDroppedWhenTheSenderCloses(t *testing.T)          { script(t) }
func TestM064_ExternalCancel(t *testing.T)                                 { script(t) }
func TestM066_ExternalCancelOfNobody(t *testing.T)                         { script(t) }
func TestM067_StartAndCancelOfAChildInOneTask(t *testing.T)                { script(t) }
func TestM068_TooManyExternalCancels(t *testing.T)                         { script(t) }
func TestS091_CompleteFailCancel(t *testing.T)                             { script(t) }
func TestFailWithoutFailure(t *testing.T)                                  { script(t) }
func TestS092_FailureIsRetried(t *testing.T)                               { script(t) }
func TestS093_NonRetryableFailureEndsTheChain(t *testing.T)                { script(t) }
func TestS094_NextRetryDelayIsCapped(t *testing.T)                         { script(t) }
func TestS095_ContinueAsNew(t *testing.T)                                  { script(t) }
func TestS096_ContinueAsNewCarriesWhatTheCommandHas(t *testing.T)          { script(t) }
func TestS097_ShortRunContinuesAfterASecond(t *testing.T)                  { script(t) }
func TestS098_CronRunsGoOn(t *testing.T)                                   { script(t) }
func TestS099_CancelledCronChainEnds(t *testing.T)                         { script(t) }
func TestContinueAsNewDropsWhatIsPending(t *testing.T)                     { script(t) }
func TestM070_QueryOnIdleRunGoesDirect(t *testing.T)                       { script(t) }
func TestM071_QueryOnStickyRunGoesToItsWorker(t *testing.T)                { script(t) }
func TestM074_QueryRidesOnAScheduledTask(t *testing.T)                     { script(t) }
func TestM075_QueryDuringAStartedTask(t *testing.T)                        { script(t) }
func TestM077_QueryBufferIsBounded(t *testing.T)                           { script(t) }
func TestM079_QueryOnAVanishingTask(t *testing.T)                          { script(t) }
func TestM081_QueryInFirstBackoff(t *testing.T)                            { script(t) }
func TestM082_QueryOnARunThatNeverRan(t *testing.T)                        { script(t) }
func TestQueryWaitingWhenTheRunNeverRuns(t *testing.T)                     { script(t) }
func TestM083_QueryWhileTasksFail(t *testing.T)                            { script(t) }
func TestM084_QueryIsAttachedAgainAfterAFailure(t *testing.T)              { script(t) }
func TestM086_RejectConditions(t *testing.T)                               { script(t) }
func TestM088_FailedAnswer(t *testing.T)                                   { script(t) }
func TestM089_MalformedAnswersCountAsNone(t *testing.T)                    { script(t) }
func TestM090_OversizedAnswer(t *testing.T)                                { script(t) }
func TestM107_QueryBehindTheTaskThatCloses(t *testing.T)                   { script(t) }
func TestQueryIsReleasedByTermination(t *testing.T)                        { script(t) }
func TestForgottenQueryIsNotDelivered(t *testing.T)                        { script(t) }
func TestM001_SignalToIdleRunSchedulesTask(t *testing.T)                   { script(t) }
func TestM002_SignalBeforeFirstTaskStarts(t *testing.T)                    { script(t) }
func TestM003_SignalWhileTaskStartedIsBuffered(t *testing.T)               { script(t) }
func TestM005_RequestIDCountsOncePerRun(t *testing.T)                      { script(t) }
func TestM007_RequestIDIsForgottenByTheNextRun(t *testing.T)               { script(t) }
func TestM010_UnknownWorkflowOrRun(t *testing.T)                           { script(t) }
func TestM013_OversizedSignalIsRefused(t *testing.T)                       { script(t) }
func TestM014_SignalCountLimit(t *testing.T)                               { script(t) }
func TestM015_CloseMeetsBufferedSignal(t *testing.T)                       { script(t) }
func TestM016_OtherCloseCommandsMeetBufferedSignal(t *testing.T)           { script(t) }
func TestM020_ActivityResultMovesBehindSignal(t *testing.T)                { script(t) }
func TestM021_OverflowingBufferFailsTheTask(t *testing.T)                  { script(t) }
func TestM059_CancelIdleRun(t *testing.T)                                  { script(t) }
func TestM060_CancelOfClosedRunIsNoOp(t *testing.T)                        { script(t) }
func TestM061_CancelPinsTheChain(t *testing.T)                             { script(t) }
func TestM062_CancelInFirstBackoffSchedulesTask(t *testing.T)              { script(t) }
func TestM063_CancelRequestHoldsBackTheClose(t *testing.T)                 { script(t) }
func TestS107_TerminateOfClosedRun(t *testing.T)                           { script(t) }
func TestS018_StartWritesTwoEventsAtOnce(t *testing.T)                     { script(t) }
func TestS019_SameRequestIDStartsOnce(t *testing.T)                        { script(t) }
func TestS021_RunningWorkflowRefusesAnotherStart(t *testing.T)             { script(t) }
func TestS022_UseExistingAddsNothing(t *testing.T)                         { script(t) }
func TestS023_AttachedRequestIDIsRemembered(t *testing.T)                  { script(t) }
func TestS024_TerminateExistingIsOneBatch(t *testing.T)                    { script(t) }
func TestS025_ReusePoliciesLookAtTheLastRunsEnd(t *testing.T)              { script(t) }
func TestS028_WorkflowTaskTimeoutIsDefaultedAndCapped(t *testing.T)        { script(t) }
func TestS029_RunTimeoutIsCutToExecutionTimeout(t *testing.T)              { script(t) }
func TestS032_StartDelayHoldsTheFirstWorkflowTask(t *testing.T)            { script(t) }
func TestS033_SignalWithStartAndCancelCutTheDelayShort(t *testing.T)       { script(t) }
func TestS035_CronStartWaitsForItsSlot(t *testing.T)                       { script(t) }
func TestS036_EagerStartHandsOutTheFirstTask(t *testing.T)                 { script(t) }
func TestS037_EagerTaskTimesOutToTheNormalQueue(t *testing.T)              { script(t) }
func TestS038_NoEagerTaskWithDelay(t *testing.T)                           { script(t) }
func TestM034_SignalWithStartWritesSignalBeforeTask(t *testing.T)          { script(t) }
func TestM035_SignalWithStartOnOpenRun(t *testing.T)                       { script(t) }
func TestM037_SignalWithStartTerminatesExisting(t *testing.T)              { script(t) }
func TestM038_SignalWithStartObeysReusePolicy(t *testing.T)                { script(t) }
func TestM042_SignalWithStartIsLimitedBeforeItIsDeduplicated(t *testing.T) { script(t) }
func TestRetentionRemovesAClosedRun(t *testing.T)                          { script(t) }
func TestUnlimitedRetentionKeepsNoTimer(t *testing.T)                      { script(t) }
func TestS082_TimersFireInOrder(t *testing.T)                              { script(t) }
func TestS082_DuplicateTimerID(t *testing.T)                               { script(t) }
func TestS083_CancelOfUnknownTimerOrActivity(t *testing.T)                 { script(t) }
func TestTimerCancelled(t *testing.T)                                      { script(t) }
func TestTimerFiresIntoTheBuffer(t *testing.T)                             { script(t) }
func TestS086_Markers(t *testing.T)                                        { script(t) }
func TestS088_UpsertSearchAttributesMergesAndRemoves(t *testing.T)         { script(t) }
func TestS100_RunTimeout(t *testing.T)                                     { script(t) }
func TestS100_RunTimeoutIsRetried(t *testing.T)                            { script(t) }
func TestS100_ExecutionTimeoutHasNoSuccessor(t *testing.T)                 { script(t) }
func TestS101_ExecutionTimeoutSpansRuns(t *testing.T)                      { script(t) }
func TestM109_UpdateInTheFirstTask(t *testing.T)                           { script(t) }
func TestM110_RejectionInTheFirstTaskKeepsIt(t *testing.T)                 { script(t) }
func TestM111_UpdateOnAnIdleRun(t *testing.T)                              { script(t) }
func TestM112_RejectionLeavesNoTrace(t *testing.T)                         { script(t) }
func TestM114_UpdateOnAScheduledTask(t *testing.T)                         { script(t) }
func TestM115_UpdateDuringAStartedTask(t *testing.T)                       { script(t) }
func TestM115_UpdateDuringAStartedTaskWithoutInline(t *testing.T)          { script(t) }
func TestM116_AcceptedNowCompletedLater(t *testing.T)                      { script(t) }
func TestM117_TwoUpdatesInterleaved(t *testing.T)                          { script(t) }
func TestM118_AcceptOneRejectTheOther(t *testing.T)                        { script(t) }
func TestM119_MessagesWithoutCommandsComeLast(t *testing.T)                { script(t) }
func TestM120_CommandsPlaceTheMessages(t *testing.T)                       { script(t) }
func TestM121_MessagesComeInOrderOfAdmission(t *testing.T)                 { script(t) }
func TestM128_AcceptedAndClosedInOneTask(t *testing.T)                     { script(t) }
func TestM135_PollOfAnUnknownUpdate(t *testing.T)                          { script(t) }
func TestM136_OutcomeSurvivesACrash(t *testing.T)                          { script(t) }
func TestM137_DuplicatesAttach(t *testing.T)                               { script(t) }
func TestM139_RejectionIsNotRemembered(t *testing.T)                       { script(t) }
func TestM143_UpdatePinsTheChain(t *testing.T)                             { script(t) }
func TestM145_UpdateWhileTasksFail(t *testing.T)                           { script(t) }
func TestM149_SignalPromotesAScheduledSpeculativeTask(t *testing.T)        { script(t) }
func TestM150_SignalPromotesAStartedSpeculativeTask(t *testing.T)          { script(t) }
func TestM151_EventsShippedWithTheTaskKeepIt(t *testing.T)                 { script(t) }
func TestM152_WorkerCanDiscardEvents(t *testing.T)                         { script(t) }
func TestM154_RejectionWithACommandKeepsTheTask(t *testing.T)              { script(t) }
func TestM155_HeartbeatOnASpeculativeTask(t *testing.T)                    { script(t) }
func TestM156_WorkerFailsASpeculativeTask(t *testing.T)                    { script(t) }
func TestM157_SpeculativeTaskTimesOut(t *testing.T)                        { script(t) }
func TestM158_SpeculativeTaskOnADeadStickyQueue(t *testing.T)              { script(t) }
func TestM159_SpeculativeTaskNobodyPolls(t *testing.T)                     { script(t) }
func TestM160_StickyQueueWithoutPoller(t *testing.T)                       { script(t) }
func TestM160_StickyQueueGoneAfterTheOffer(t *testing.T)                   { script(t) }
func TestM161_TerminateWithASpeculativeTask(t *testing.T)                  { script(t) }
func TestM162_CrashForgetsASpeculativeTask(t *testing.T)                   { script(t) }
func TestHeartbeatWritesNoSpeculativeTask(t *testing.T)                    { script(t) }
func TestM165_LostUpdateIsResurrected(t *testing.T)                        { script(t) }
func TestM166_LostUpdateWithoutItsRequest(t *testing.T)                    { script(t) }
func TestM167_SilenceIsRejection(t *testing.T)                             { script(t) }
func TestM168_BadMessages(t *testing.T)                                    { script(t) }
func TestM168_ResponseForAnotherUpdate(t *testing.T)                       { script(t) }
func TestM168_ResponseWithoutOutcome(t *testing.T)                         { script(t) }
func TestM169_ProtocolMessageWithoutMessage(t *testing.T)                  { script(t) }
func TestM172_ServerFailsTheTask(t *testing.T)                             { script(t) }
func TestM173_UnhandledCommandAbortsSentUpdates(t *testing.T)              { script(t) }
func TestM174_WorkerFailureSendsUpdatesAgain(t *testing.T)                 { script(t) }
func TestM176_CloseAbortsUpdates(t *testing.T)                             { script(t) }
func TestM177_ContinueAsNewMakesCallersRetry(t *testing.T)                 { script(t) }
func TestM178_AcceptedUpdateOfAClosedRun(t *testing.T)                     { script(t) }
func TestM179_CompletedAndClosedInOneTask(t *testing.T)                    { script(t) }
func TestM180_RejectedAndClosedInOneTask(t *testing.T)                     { script(t) }
func TestM183_AdmittedUpdateDoesNotHoldBackTheClose(t *testing.T)          { script(t) }
func TestM184_UpdatesInFlight(t *testing.T)                                { script(t) }
func TestM185_UpdatesInTotal(t *testing.T)                                 { script(t) }
func TestM186_ManyUpdatesSuggestContinueAsNew(t *testing.T)                { script(t) }
func TestM187_UpdatesPayload(t *testing.T)                                 { script(t) }
func TestM194_UpdateWithStart(t *testing.T)                                { script(t) }
func TestM195_UpdateWithStartOnAnOpenRun(t *testing.T)                     { script(t) }
func TestM198_UnfinishedUpdateOfAClosedRunIsNotAttached(t *testing.T)      { script(t) }
func TestM202_UpdateIsLimitedThoughTheRunStarts(t *testing.T)              { script(t) }
func TestS047_PollTellsWhatIsNew(t *testing.T)                             { script(t) }
func TestS049_FailedTaskIsRecordedOnceThenTransient(t *testing.T)          { script(t) }
func TestS051_SignalBetweenAttemptsMakesTaskNormal(t *testing.T)           { script(t) }
func TestS052_StartToCloseTimeout(t *testing.T)                            { script(t) }
func TestS053_LaterAttemptsMayTakeLonger(t *testing.T)                     { script(t) }
func TestS054_TokenCountsOnce(t *testing.T)                                { script(t) }
func TestS055_UnknownCommandIsTheRequestsFault(t *testing.T)               { script(t) }
func TestS056_BadAttributesFailTheTask(t *testing.T)                       { script(t) }
func TestS058_CancelOfBufferedTimerLetsTheCloseThrough(t *testing.T)       { script(t) }
func TestTimerIDStaysInUseWhileItsFireIsBuffered(t *testing.T)             { script(t) }
func TestS059_HeartbeatsKeepTheScheduleTime(t *testing.T)                  { script(t) }
func TestS059_HeartbeatsEndAfterHalfAnHour(t *testing.T)                   { script(t) }
func TestHeartbeatTimeoutOfALaterAttemptWritesNothing(t *testing.T)        { script(t) }
func TestS060_NextTaskInline(t *testing.T)                                 { script(t) }
func TestATaskForSignalsAloneTakesItsTurn(t *testing.T)                    { script(t) }
func TestS061_StickyTaskGetsPartialHistory(t *testing.T)                   { script(t) }
func TestS062_StickyTimeout(t *testing.T)                                  { script(t) }
func TestS063_DeadStickyWorkerIsSkipped(t *testing.T)                      { script(t) }
func TestS063_StickyQueueGoneAfterTheOffer(t *testing.T)                   { script(t) }
func TestS064_ResetStickyClearsStickiness(t *testing.T)                    { script(t) }
func TestResetStickyMovesAScheduledTask(t *testing.T)                      { script(t) }
func TestFailureOfAStickyTaskKeepsTheAttempt(t *testing.T)                 { script(t) }
func TestS067_ContinueAsNewIsSuggested(t *testing.T)                       { script(t) }
func TestS071_TooLargeMessageEndsTheRun(t *testing.T)                      { script(t) }
func TestS074_TerminateWhileTaskStarted(t *testing.T)                      { script(t) }
func TestTerminateWhileTransientTaskStarted(t *testing.T)                  { script(t) }
func TestStartedTaskIsTakenFromItsTokenAfterACrash(t *testing.T)           { script(t) }
func TestStartedTaskOfALaterAttemptIsTakenFromItsToken(t *testing.T)       { script(t) }
func TestTokenIsRefusedWhenTheRunHasMovedOn(t *testing.T)                  { script(t) }
func TestS104_OversizedResultTerminates(t *testing.T)                      { script(t) }
func TestTaskAndActivityTimeOutAtOnce(t *testing.T)                        { script(t) }
func TestS105_TooLongHistoryTerminates(t *testing.T)                       { script(t) }

// TestScriptsComeToEveryMark: each rare path that the code marks for the simulator has a story.
func TestScriptsComeToEveryMark(t *testing.T) {
	unreachable := []string{
		"speculative task dropped at start",      // no input takes back an update that was not sent
		"child's end forwarded to the reset run", // reset is shown by tests of its own
	}
	hit := map[string]int{}
	files, _ := filepath.Glob("testdata/*.txt")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range heading.FindAllSubmatch(text, -1) {
			_, section, _, _ := cutSection(string(text), string(m[1]))
			_, w := play(t, section)
			for mark := range w.marks {
				hit[mark]++
			}
		}
	}
	sources, _ := filepath.Glob("*.go")
	for _, file := range sources {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`mark\("([^"]+)"\)`).FindAllSubmatch(text, -1) {
			if mark := string(m[1]); hit[mark] == 0 && !slices.Contains(unreachable, mark) {
				t.Errorf("no script comes to %q", mark)
			}
		}
	}
}

var heading = regexp.MustCompile(`(?m)^== (\w+)$`)

// TestEveryScriptIsATest: a section without its test would never be played.
func TestEveryScriptIsATest(t *testing.T) {
	source, err := os.ReadFile("scripts_test.go")
	if err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob("testdata/*.txt")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range heading.FindAllSubmatch(text, -1) {
			if !regexp.MustCompile(`func ` + string(m[1]) + `\(t`).Match(source) {
				t.Errorf("%s: section %s has no test", file, m[1])
			}
		}
	}
}
