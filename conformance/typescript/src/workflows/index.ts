export * from './dynamic';
export * from './external';
export * from './handlers';
export * from './ledger';
export * from './queries';
export * from './signals';
export * from './traffic';
