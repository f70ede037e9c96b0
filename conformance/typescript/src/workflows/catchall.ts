export * from './index';
export { anyWorkflow as default } from './dynamic';
